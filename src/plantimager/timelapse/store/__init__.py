"""The store on disk: its document, older spellings, reading, writing, the archive."""
