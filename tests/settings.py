"""The console's settings for tests: plain static file names and a cheap password hash; nothing else differs."""

import tests.environment  # noqa: F401 - first: it sets the variables that the settings below are read from
from console.settings import *  # noqa: F403
from console.settings import STORAGES

STORAGES = {**STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
WHITENOISE_USE_FINDERS = True
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # noqa: F405 (whitenoise warns of a folder that is not there)
