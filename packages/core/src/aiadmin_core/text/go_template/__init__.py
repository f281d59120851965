"""Go's text/template, as far as chat templates use it: `lexer` and `parser` make nodes of a source, `evaluate` writes
them, `functions` are what they may call, `values` and `variables` what they see. `chat` makes a chat template of it.

The language is that of https://pkg.go.dev/text/template; what only programs can offer (methods, channels) has no place.
"""
