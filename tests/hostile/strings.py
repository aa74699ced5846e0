"""Names, ids and texts that break what reads them carelessly."""

from __future__ import annotations

from hypothesis import strategies as st

__all__ = ["TEXTS", "UNKNOWN", "names"]

TEXTS: dict[str, str] = {
    "a line and a header": "1\r\nX-Injected: yes\r\n\r\n",
    "every control character": "".join(map(chr, [*range(32), *range(127, 160)])),
    "a zero byte": "a\0b",
    "from right to left": "\u202egnp.exe\u202c \u05d0\u05d1\u05d2",
    "10,000 characters": "n" * 10_000,
    "10,000 characters of four bytes": "\U0001f600" * 10_000,
    "1,025 characters": "k" * 1025,
    "up and out": "../../../../etc/passwd",
    "up and out, escaped": "..%2f..%2f%00",
    "a device": "con",
    "an object elsewhere": "s3://somebody-elses-bucket/key",
    "an address": "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
    "a file": "file:///proc/self/environ",
    "a template": "${jndi:ldap://127.0.0.1/a}{{7*7}}%s%n",
    "SQL": "'; DROP TABLE models; --",
    "a byte order mark": "\ufeffx",
    "combining": "Z" + "\u0300" * 200,
    "a format string": "{0.__class__.__init__.__globals__}",
    "markup": "<script>alert(1)</script>",
    "what JSON escapes": '"\\\b\f\n\r\t/\u2028\u2029',
    "an exotic space": "\u00a0x\u3000",
}
names = st.sampled_from(sorted(TEXTS.values())) | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
"""Any text: it can be carried, whatever it says."""
UNKNOWN = names.map(lambda name: f"{name}?")
"""A name that no tensor has."""
