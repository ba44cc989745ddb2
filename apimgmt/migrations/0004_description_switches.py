"""Two switches of one API (hide schema in errors, description public), and what gateways must know of them.

The view gets them and the model's name; the triggers number their changes like every other.
"""

from django.db import migrations, models

NUMBERS = """
CREATE OR REPLACE FUNCTION apimgmt_number_api() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' OR NEW.revision = -1
       OR (NEW.target, NEW.type, NEW.version_id, NEW.candidate_id, NEW.key_digest, NEW.deleted_at,
           NEW.hides_schema, NEW.has_public_description)
          IS DISTINCT FROM
          (OLD.target, OLD.type, OLD.version_id, OLD.candidate_id, OLD.key_digest, OLD.deleted_at,
           OLD.hides_schema, OLD.has_public_description)
    THEN
        NEW.revision := apimgmt_next_revision();
    ELSE
        NEW.revision := OLD.revision;
    END IF;
    RETURN NEW;
END $$;

-- A model's name is part of paths.
CREATE FUNCTION apimgmt_number_model() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.name IS DISTINCT FROM OLD.name THEN
        UPDATE apimgmt_predictionapi SET revision = -1 WHERE model_id = NEW.id AND deleted_at IS NULL;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER number_model AFTER UPDATE ON apimgmt_model
    FOR EACH ROW EXECUTE FUNCTION apimgmt_number_model();
"""

NUMBERS_BACK = """
DROP TRIGGER number_model ON apimgmt_model;
DROP FUNCTION apimgmt_number_model();
CREATE OR REPLACE FUNCTION apimgmt_number_api() RETURNS trigger LANGUAGE plpgsql AS $$
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
"""

# As in 0002, with the three columns more. Dropped first, so that the tables behind it may change.
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
    ) AS versions{more}
FROM apimgmt_predictionapi a
JOIN apimgmt_model m ON m.id = a.model_id
LEFT JOIN apimgmt_trialquota q ON q.api_id = a.id
WHERE a.target <> 'deleted'
   OR a.revision > (SELECT min(g.applied_revision) FROM apimgmt_gatewayworker g WHERE g.gone_at IS NULL);
"""
MORE = """,
    m.name AS model_name,
    a.hides_schema,
    a.has_public_description"""
DROP = "DROP VIEW gateway_route_v1"


class Migration(migrations.Migration):
    dependencies = [("apimgmt", "0003_roles")]

    operations = [
        migrations.RunSQL(DROP, VIEW.format(more="")),
        migrations.AddField(
            model_name="predictionapi",
            name="hides_schema",
            field=models.BooleanField(
                default=False,
                db_default=False,
                help_text="Refusals tell the code and how many rows are wrong, but no column.",
                verbose_name="hide schema in errors",
            ),
        ),
        migrations.AddField(
            model_name="predictionapi",
            name="has_public_description",
            field=models.BooleanField(
                default=False,
                db_default=False,
                help_text="Whoever has an allowed address may read the columns and the docs page without the key.",
                verbose_name="description public",
            ),
        ),
        migrations.RunSQL(NUMBERS, NUMBERS_BACK),
        migrations.RunSQL(VIEW.format(more=MORE), DROP),
    ]
