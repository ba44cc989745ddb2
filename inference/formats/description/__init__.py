"""What an API says of itself: columns, schemas, OpenAPI, snippets, the docs page."""
