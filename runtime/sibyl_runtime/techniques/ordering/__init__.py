"""Pure ways to put chunks in another order: by their words, by two orders at once, by difference, as a model says."""
