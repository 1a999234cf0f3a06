"""The drills that come with the harness: one disaster a file. `pytest --pyargs drills.scenarios` holds them."""
