"""Reports: what runs found, beside their controls, as one HTML file, one table and a text for the terminal."""
