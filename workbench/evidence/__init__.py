"""The evidence: what was measured (lookups), recorded (pins) and compiled (typesafety)."""
