"""What the user chose (`Config`), where things lie by templates, and what an experiment file says."""
