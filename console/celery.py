"""The Celery application. Redis carries hints; what has to be done stands in the database (`apimgmt.tasks.sweep`)."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")

app = Celery("console")
app.set_default()  # also in threads that did not import this: web requests queue work
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
