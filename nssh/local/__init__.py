"""The laptop's clipboard and browser, and the callbacks of logins (OAuth) that the browser answers."""
