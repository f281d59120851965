"""The values that travel through AiAdmin: msgspec Structs, no behaviour beyond properties.

Every spec is frozen and keyword-only unless its order *is* its format (`array_like`). New fields get defaults,
and in `array_like` Structs they go last, so that an older peer still decodes what a newer one sends.
"""
