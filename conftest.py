"""This repository's own choices. A team's repository has a file like it; the harness itself is the plugin."""
