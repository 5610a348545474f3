"""Run record -> what people look at: the journal, the HTML page, evidence."""
