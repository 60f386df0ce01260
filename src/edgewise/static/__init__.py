"""Static files: found below a root and nowhere else, with their types, validators and rules for caches."""
