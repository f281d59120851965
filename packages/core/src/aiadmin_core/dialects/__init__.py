"""How families of models write what they think and the tools they call: one small module each, found from the chat
template. Used by `assemble`; plugins add more (`aiadmin_dialects`).
"""
