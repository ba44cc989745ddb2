"""The second view that gateways read: the first one's columns, and in each version its meaning.

The first stays as it is for workers of the release before. A stored meaning never changes, so no trigger numbers it: it
comes with its version, or was made from the rules by which that version is served anyway.
"""

from django.db import migrations

VIEW = """
CREATE VIEW gateway_route_v2 AS
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
            'version_id', v.id, 'number', v.number, 'sha256', v.sha256, 'format', v.format, 'spec', v.spec,
            'meaning', v.meaning))
        FROM apimgmt_modelversion v WHERE v.id IN (a.version_id, a.candidate_id)
    ) AS versions,
    m.name AS model_name,
    a.hides_schema,
    a.has_public_description
FROM apimgmt_predictionapi a
JOIN apimgmt_model m ON m.id = a.model_id
LEFT JOIN apimgmt_trialquota q ON q.api_id = a.id
WHERE a.target <> 'deleted'
   OR a.revision > (SELECT min(g.applied_revision) FROM apimgmt_gatewayworker g WHERE g.gone_at IS NULL);
"""

KEEP = """
CREATE FUNCTION apimgmt_keep_meaning() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.meaning IS NOT NULL AND NEW.meaning IS DISTINCT FROM OLD.meaning THEN
        RAISE EXCEPTION 'the meaning of a version never changes: register the next version'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep_meaning BEFORE UPDATE OF meaning ON apimgmt_modelversion
    FOR EACH ROW EXECUTE FUNCTION apimgmt_keep_meaning();
"""

KEEP_BACK = """
DROP TRIGGER keep_meaning ON apimgmt_modelversion;
DROP FUNCTION apimgmt_keep_meaning();
"""


class Migration(migrations.Migration):
    dependencies = [("apimgmt", "0010_version_meaning")]

    operations = [
        migrations.RunSQL(VIEW, "DROP VIEW gateway_route_v2"),
        migrations.RunSQL(KEEP, KEEP_BACK),
    ]
