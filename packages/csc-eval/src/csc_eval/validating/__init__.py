"""Whether the portal takes a submission, and how it will read it, before any truth is known."""
