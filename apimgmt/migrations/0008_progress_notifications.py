"""Whoever waits for gateways or for a build hears at once that there is something new (`lifecycle/progress.py`)."""

from django.db import migrations

CREATE = """
CREATE FUNCTION apimgmt_notify_progress() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('apimgmt_progress', '');
    RETURN NULL;
END $$;

-- Each heartbeat updates the row; only what can change a confirmation is told.
CREATE TRIGGER progress_worker AFTER UPDATE ON apimgmt_gatewayworker
    FOR EACH ROW WHEN ((OLD.applied_revision, OLD.epoch, OLD.gone_at)
                       IS DISTINCT FROM (NEW.applied_revision, NEW.epoch, NEW.gone_at))
    EXECUTE FUNCTION apimgmt_notify_progress();
CREATE TRIGGER progress_load AFTER INSERT OR UPDATE ON apimgmt_modelload
    FOR EACH ROW EXECUTE FUNCTION apimgmt_notify_progress();
CREATE TRIGGER progress_build AFTER UPDATE ON apimgmt_build
    FOR EACH ROW WHEN (OLD.finished_at IS DISTINCT FROM NEW.finished_at)
    EXECUTE FUNCTION apimgmt_notify_progress();
"""

DROP = """
DROP TRIGGER progress_build ON apimgmt_build;
DROP TRIGGER progress_load ON apimgmt_modelload;
DROP TRIGGER progress_worker ON apimgmt_gatewayworker;
DROP FUNCTION apimgmt_notify_progress();
"""


class Migration(migrations.Migration):
    dependencies = [("apimgmt", "0007_build_queued_at")]

    operations = [migrations.RunSQL(CREATE, DROP)]
