"""What a model is, how its requests are read and answered, and how it is run safely."""
