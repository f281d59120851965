"""The processes that hold loaded models: started, watched, explained when they die, and stopped."""
