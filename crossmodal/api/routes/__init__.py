"""The routes, a module per use case. They read a request, call a use case and write its answer; no logic of their own."""
