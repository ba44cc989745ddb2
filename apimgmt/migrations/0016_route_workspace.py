"""Gateways learn whose an API is, so that workspaces share a machine fairly.

It reaches them within the view's `versions`, as the charset of CSVs does: the columns of the view stay as they are, and a
worker that doesn't know it goes on. An API never changes its workspace, so nothing has to be read again.
"""

from importlib import import_module

from django.db import migrations

before = import_module("apimgmt.migrations.0014_csv_charset")

MORE = (
    before.MORE
    + """,
            'workspace_id', m.workspace_id"""
)


class Migration(migrations.Migration):
    dependencies = [("apimgmt", "0015_freeze_meaning")]

    operations = [
        migrations.RunSQL(before.VIEW.format(more=MORE), before.VIEW.format(more=before.MORE)),
    ]
