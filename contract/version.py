"""The release, as the footer and the documentation show it."""

VERSION = "0.1.0"
