from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("apimgmt", "0012_wrong_answer_incident"),
    ]

    operations = [
        migrations.CreateModel(
            name="InputWarning",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("api_id", models.CharField(max_length=16)),
                ("day", models.DateField()),
                ("column", models.CharField(max_length=200)),
                ("code", models.CharField(max_length=30)),
                ("count", models.BigIntegerField()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("api_id", "day", "column", "code"), name="one_warning_count_per_day_column_and_code"
                    )
                ],
            },
        ),
    ]
