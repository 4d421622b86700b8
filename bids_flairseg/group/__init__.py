"""From the results of all scans to tables and a page for the whole dataset."""
