"""The pages: each view says who may, which object, which form, which call, which reply; the rules are elsewhere."""
