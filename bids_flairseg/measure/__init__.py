"""From arrays and tables to numbers: lesions, regions, statistics, agreement."""
