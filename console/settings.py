"""Django settings. Everything that differs between machines comes from `runtime.environment`."""

from __future__ import annotations

import sys
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from runtime.connections import broker_url, database_url
from runtime.environment import BadEnvironment, read_environment
from runtime.secret_files import key_encryption_keys, secret_key

BASE_DIR = Path(__file__).resolve().parent.parent

try:
    ENVIRONMENT = read_environment()
except BadEnvironment as error:
    sys.exit(f"Bad environment: {error}")

DEBUG = ENVIRONMENT.debug
