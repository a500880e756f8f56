"""The store on a LibSQL server, through the library ``libsql-client``. Imported only for URLs of servers."""
