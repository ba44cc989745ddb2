"""When a build's task was last sent, so that a build that waits in the queue is not queued again."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("apimgmt", "0006_build_reasons")]

    operations = [
        migrations.AddField(
            model_name="build",
            name="queued_at",
            field=models.DateTimeField(editable=False, null=True, verbose_name="queued"),
        ),
    ]
