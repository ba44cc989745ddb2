"""Why the meaning of a version stored before meanings were could not be found out, and when that was tried."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("apimgmt", "0014_csv_charset")]

    operations = [
        migrations.AddField(
            model_name="modelversion",
            name="freeze_fault",
            field=models.JSONField(editable=False, null=True, verbose_name="why its meaning is not known"),
        ),
        migrations.AddField(
            model_name="modelversion",
            name="freeze_tried_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
    ]
