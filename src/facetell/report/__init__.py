"""A verdict becomes something to read: terminal, JSON, CSV, one HTML page, a marked video."""
