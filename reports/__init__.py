"""What a run tells: record -> table -> chart -> page.

`write_reports` is the one entrance for callers; everything else is a room behind it.
"""
