# `just` lists the routines; `just NAME ...` runs one. Each is a nox session: noxfile.py holds what they do.

_default:
    @nox -l

[positional-arguments]
run session *args:
    nox -s "$1" -- "${@:2}"
