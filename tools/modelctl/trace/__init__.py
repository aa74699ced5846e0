"""Where the time of a cold start goes: the function's own process, traced from outside of its code, as a waterfall."""
