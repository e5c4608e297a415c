"""What lies between sockets and the application: who may connect, and what is passed on."""
