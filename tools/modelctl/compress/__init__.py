"""Makes a graph smaller, a module a family of methods; each says what it can't do, and none decides whether its result is good enough."""
