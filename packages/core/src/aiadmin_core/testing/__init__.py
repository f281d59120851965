"""For those who write engines: the conformance kit, and engines without a model.

    pytest --pyargs aiadmin_core.testing --aiadmin-backend echo --aiadmin-model ""

runs every behaviour of `conformance` on an installed backend. `echo` is the smallest backend there can be, `fake` a
`TokenEngine` with scripted tokens. Nothing is imported before it is used: pytest loads this package in every run.
"""
