"""The store on disk: its schema, older spellings, reading, writing, the archive.

What is persisted is declared in `schema`; `loading` reads a file strictly, `writing` saves it again and again, and
`documented` is the face for other programs.
"""
