"""An API's life: the transition table, the services that use it, builds, confirmation."""
