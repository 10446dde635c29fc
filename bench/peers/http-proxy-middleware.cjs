// http-proxy-middleware behind the `cors` package, both as their READMEs show: the policy of the other proxies.
const http = require("node:http");
const cors = require("cors");
const express = require("express");
const { createProxyMiddleware } = require("http-proxy-middleware");

const [listen, upstream] = process.argv.slice(2);
const app = express();
app.use(
  cors({
    origin: ["https://app.example.com", /^https:\/\/[a-z0-9.-]+\.preview\.example\.com$/],
    credentials: true,
    methods: ["GET", "PUT", "POST"],
    allowedHeaders: ["content-type", "authorization"],
    exposedHeaders: ["X-Total-Count"],
    maxAge: 600,
  }),
);
app.use(
  createProxyMiddleware({
    target: `http://127.0.0.1:${upstream}`,
    agent: new http.Agent({ keepAlive: true }), // without it every request opens a connection
  }),
);
app.listen(Number(listen), "127.0.0.1");
