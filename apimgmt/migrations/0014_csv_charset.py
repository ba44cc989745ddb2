"""What an API takes a CSV for that is no UTF-8 and names no charset.

It reaches gateways within the view's `versions`, so that the columns of the view stay as they are: a worker that doesn't
know it goes on recognising. The trigger numbers its change like every other.
"""

from django.db import migrations, models

VIEW = """
CREATE OR REPLACE VIEW gateway_route_v2 AS
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
            'meaning', v.meaning{more}))
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
MORE = """,
            'csv_charset', a.csv_charset"""

NUMBERS = """
CREATE OR REPLACE FUNCTION apimgmt_number_api() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' OR NEW.revision = -1
       OR (NEW.target, NEW.type, NEW.version_id, NEW.candidate_id, NEW.key_digest, NEW.deleted_at,
           NEW.hides_schema, NEW.has_public_description{new})
          IS DISTINCT FROM
          (OLD.target, OLD.type, OLD.version_id, OLD.candidate_id, OLD.key_digest, OLD.deleted_at,
           OLD.hides_schema, OLD.has_public_description{old})
    THEN
        NEW.revision := apimgmt_next_revision();
    ELSE
        NEW.revision := OLD.revision;
    END IF;
    RETURN NEW;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("apimgmt", "0013_input_warning")]

    operations = [
        migrations.AddField(
            model_name="predictionapi",
            name="csv_charset",
            field=models.CharField(
                blank=True,
                choices=[
                    ("iso-8859-1", "iso-8859-1"),
                    ("iso-8859-15", "iso-8859-15"),
                    ("windows-1252", "windows-1252"),
                    ("cp932", "cp932"),
                    ("euc-jp", "euc-jp"),
                ],
                db_default="",
                default="",
                help_text="Of a CSV that is no UTF-8 and whose request names no charset; empty: recognised.",
                max_length=20,
                verbose_name="charset of CSVs",
            ),
        ),
        migrations.RunSQL(
            NUMBERS.format(new=", NEW.csv_charset", old=", OLD.csv_charset"), NUMBERS.format(new="", old="")
        ),
        migrations.RunSQL(VIEW.format(more=MORE), VIEW.format(more="")),
    ]
