"""How a function opens a model: every way is made of its graph and measured, and the fastest one that answers no slower is published."""
