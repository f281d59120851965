"""Owners of llama.cpp's handles, the only modules that import `llama_cpp`.

Each owner has one `close`, called once by who made it; nothing is freed by the garbage collector, whose order is not
ours. Import this package only in the process that is to hold the model.
"""
