"""What the gateway relies on: revisions from triggers, and the view it reads.

Triggers, not Python, number the changes, so the admin site, a queryset's update() and plain SQL can't bypass them.
Lock order everywhere: the API's row first, the installation's (revision) row last.
"""

from django.conf import settings
from django.db import migrations

REVISION = """
CREATE FUNCTION apimgmt_next_revision() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    number bigint;
BEGIN
    UPDATE apimgmt_installation SET revision = revision + 1 WHERE id = 1 RETURNING revision INTO number;
    IF number IS NULL THEN
        RAISE EXCEPTION 'apimgmt_installation has no row';
    END IF;
    PERFORM pg_notify('gateway_route', '');
    RETURN number;
END $$;

-- An API's revision is this trigger's alone. Writing -1 asks for the next number without another change.
CREATE FUNCTION apimgmt_number_api() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' OR NEW.revision = -1
       OR (NEW.target, NEW.type, NEW.version_id, NEW.candidate_id, NEW.key_digest, NEW.deleted_at)
          IS DISTINCT FROM
          (OLD.target, OLD.type, OLD.version_id, OLD.candidate_id, OLD.key_digest, OLD.deleted_at)
    THEN
        NEW.revision := apimgmt_next_revision();
    ELSE
        NEW.revision := OLD.revision;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER number_api BEFORE INSERT OR UPDATE ON apimgmt_predictionapi
    FOR EACH ROW EXECUTE FUNCTION apimgmt_number_api();

CREATE FUNCTION apimgmt_keep_api() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a deleted prediction API keeps its row: set status and deleted_at instead'
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER keep_api BEFORE DELETE ON apimgmt_predictionapi
    FOR EACH ROW EXECUTE FUNCTION apimgmt_keep_api();

-- One number a statement, not one a row: 10,000 networks added at once are one change.
CREATE FUNCTION apimgmt_number_whitelist() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE apimgmt_predictionapi SET revision = -1 WHERE id IN (SELECT DISTINCT api_id FROM changed);
    RETURN NULL;
END $$;
CREATE TRIGGER number_whitelist_insert AFTER INSERT ON apimgmt_whitelistentry
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION apimgmt_number_whitelist();
CREATE TRIGGER number_whitelist_delete AFTER DELETE ON apimgmt_whitelistentry
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION apimgmt_number_whitelist();

CREATE FUNCTION apimgmt_number_whitelist_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE apimgmt_predictionapi SET revision = -1
    WHERE id IN (
        SELECT o.api_id FROM old_rows o JOIN new_rows n USING (id)
        WHERE (o.api_id, o.network) IS DISTINCT FROM (n.api_id, n.network)
        UNION
        SELECT n.api_id FROM old_rows o JOIN new_rows n USING (id)
        WHERE (o.api_id, o.network) IS DISTINCT FROM (n.api_id, n.network)
    );
    RETURN NULL;
END $$;
CREATE TRIGGER number_whitelist_update AFTER UPDATE ON apimgmt_whitelistentry
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION apimgmt_number_whitelist_update();

CREATE FUNCTION apimgmt_number_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.sha256, NEW.format, NEW.spec, NEW.number) IS DISTINCT FROM (OLD.sha256, OLD.format, OLD.spec, OLD.number) THEN
        UPDATE apimgmt_predictionapi SET revision = -1 WHERE version_id = NEW.id OR candidate_id = NEW.id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER number_version AFTER UPDATE ON apimgmt_modelversion
    FOR EACH ROW EXECUTE FUNCTION apimgmt_number_version();

-- Only the limit is configuration; `used` changes with every request of a trial.
CREATE FUNCTION apimgmt_number_quota() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.request_limit IS DISTINCT FROM OLD.request_limit THEN
        UPDATE apimgmt_predictionapi SET revision = -1 WHERE id = NEW.api_id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER number_quota AFTER UPDATE OF request_limit ON apimgmt_trialquota
    FOR EACH ROW EXECUTE FUNCTION apimgmt_number_quota();

CREATE FUNCTION apimgmt_keep_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'events are append-only' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER keep_event BEFORE UPDATE OR DELETE ON apimgmt_apievent
    FOR EACH ROW EXECUTE FUNCTION apimgmt_keep_event();
"""

REVISION_BACK = """
DROP TRIGGER keep_event ON apimgmt_apievent;
DROP TRIGGER number_quota ON apimgmt_trialquota;
DROP TRIGGER number_version ON apimgmt_modelversion;
DROP TRIGGER number_whitelist_update ON apimgmt_whitelistentry;
DROP TRIGGER number_whitelist_delete ON apimgmt_whitelistentry;
DROP TRIGGER number_whitelist_insert ON apimgmt_whitelistentry;
DROP TRIGGER keep_api ON apimgmt_predictionapi;
DROP TRIGGER number_api ON apimgmt_predictionapi;
DROP FUNCTION apimgmt_keep_event(), apimgmt_number_quota(), apimgmt_number_version(),
    apimgmt_number_whitelist_update(), apimgmt_number_whitelist(), apimgmt_keep_api(), apimgmt_number_api(),
    apimgmt_next_revision();
"""

# Deleted routes stay in the view until every worker that counts has applied their deletion.
VIEW = """
CREATE VIEW gateway_route_v1 AS
SELECT
    a.id AS api_id,
    a.revision,
    a.target,
    a.type,
    a.key_digest,
    a.version_id,
    a.candidate_id,
    CASE WHEN a.type = 'trial' THEN q.request_limit END AS quota_limit,
    ARRAY(SELECT w.network::text FROM apimgmt_whitelistentry w WHERE w.api_id = a.id ORDER BY w.id) AS networks,
    (
        SELECT jsonb_agg(jsonb_build_object(
            'version_id', v.id, 'number', v.number, 'sha256', v.sha256, 'format', v.format, 'spec', v.spec))
        FROM apimgmt_modelversion v WHERE v.id IN (a.version_id, a.candidate_id)
    ) AS versions
FROM apimgmt_predictionapi a
LEFT JOIN apimgmt_trialquota q ON q.api_id = a.id
WHERE a.target <> 'deleted'
   OR a.revision > (SELECT min(g.applied_revision) FROM apimgmt_gatewayworker g WHERE g.gone_at IS NULL);
"""


def create_installation(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO apimgmt_installation (id, epoch, revision, time_zone)"
            " VALUES (1, gen_random_uuid(), 0, %s) ON CONFLICT (id) DO NOTHING",
            [settings.TIME_ZONE],
        )


class Migration(migrations.Migration):
    dependencies = [("apimgmt", "0001_initial")]

    operations = [
        migrations.RunSQL(REVISION, REVISION_BACK),
        migrations.RunSQL(VIEW, "DROP VIEW gateway_route_v1"),
        migrations.RunPython(create_installation, migrations.RunPython.noop),
    ]
