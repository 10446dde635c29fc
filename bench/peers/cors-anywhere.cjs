// cors-anywhere as its README shows it: any origin, no credentials, the upstream named in the path.
const http = require("node:http");
const [listen] = process.argv.slice(2);

require("cors-anywhere")
  .createServer({
    originWhitelist: [],
    requireHeader: [],
    removeHeaders: [],
    corsMaxAge: 600,
    httpProxyOptions: { agent: new http.Agent({ keepAlive: true }) }, // else every request opens a connection
  })
  .listen(Number(listen), "127.0.0.1");
