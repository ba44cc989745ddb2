"""The second step of registering: what was found as a form, and the corrected form as metadata again."""
