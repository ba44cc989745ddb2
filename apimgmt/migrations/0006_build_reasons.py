"""Why a build failed is kept as messages (code and parameters). `reason` keeps what earlier releases wrote."""

import django.db.models
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("apimgmt", "0005_gateway_incident")]

    operations = [
        migrations.AddField(
            model_name="build",
            name="reasons",
            field=models.JSONField(
                blank=True,
                db_default=django.db.models.Value([], models.JSONField()),
                default=list,
                verbose_name="reasons",
            ),
        ),
        migrations.AlterField(
            model_name="build",
            name="reason",
            field=models.TextField(blank=True, editable=False, verbose_name="reason"),
        ),
    ]
