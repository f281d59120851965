"""The table of verbs: name, module and one line of help, so that `aiadmin --help` imports none of them."""

VERBS: dict[str, str] = {
    "serve": "Serve the models of this machine over HTTP.",
    "run": "Ask a model one thing, or chat with it.",
    "pull": "Fetch a model.",
    "create": "Make a model of another one, as a Modelfile says.",
    "push": "Send a model to a registry.",
    "search": "Look for models to pull.",
    "list": "List the models and aliases of this machine.",
    "show": "Show what a model is and how its name resolves.",
    "cp": "Give a model another name.",
    "set": "Set a model's defaults.",
    "alias": "List, set and remove aliases.",
    "rm": "Remove models.",
    "ps": "List the models that are loaded.",
    "stop": "Unload a model.",
    "bench": "Measure how fast a model answers.",
    "logs": "Show the server's log, or that of a model's process.",
    "config": "Show and change settings.",
    "doctor": "Check this machine and say what to do.",
    "service": "Let the system start the server.",
    "completion": "Print what completes verbs, options and models in a shell.",
    "man": "Print the manual page.",
    "plugins": "List the installed plugins.",
    "help": "Show what a verb does.",
}
"""In the order of `aiadmin --help`. The command is the attribute `command` of `aiadmin_server.cli.<verb>`; a test
holds its docstring to the line here."""

SAME = {"ls": "list", "start": "serve"}
"""Short names that people bring from Ollama's command, and the verbs that they are here."""
MEANT = {
    "ask": "run",
    "chat": "run",
    "copy": "cp",
    "delete": "rm",
    "download": "pull",
    "get": "pull",
    "import": "pull",
    "info": "show",
    "inspect": "show",
    "install": "pull",
    "kill": "stop",
    "models": "list",
    "remove": "rm",
    "rename": "cp",
    "server": "serve",
    "settings": "config",
    "status": "ps",
    "uninstall": "rm",
    "unload": "stop",
    "update": "pull",
    "version": "--version",
}
"""Other programs' words for what a verb does here: what a complaint about them names. The nearest spelling of
`delete` is `create`."""
