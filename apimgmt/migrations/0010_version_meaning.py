"""What the outputs and classes of a version mean, apart from its description, which stays byte for byte.

Workers say which route view they read, so that none of an older release is given a version that it can't serve.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("apimgmt", "0009_worker_obstacle")]

    operations = [
        migrations.AddField(
            model_name="modelversion",
            name="meaning",
            field=models.JSONField(editable=False, null=True, verbose_name="meaning of outputs and classes"),
        ),
        migrations.AddField(
            model_name="gatewayworker",
            name="route_view",
            field=models.PositiveSmallIntegerField(db_default=1, default=1, verbose_name="route view"),
        ),
    ]
