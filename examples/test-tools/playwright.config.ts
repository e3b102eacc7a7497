// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

import { defineConfig } from '@playwright/test'

export default defineConfig({
  testDir: 'playwright',
  fullyParallel: true,
  workers: 2,
  use: {
    baseURL: process.env.APP_URL,
    // Traces, videos and screenshots would store the password that a test types.
    trace: 'off',
    video: 'off',
    screenshot: 'off',
    // Empty: the browser that `npx playwright install chromium` installs.
    launchOptions: { executablePath: process.env.CHROMIUM_BIN || undefined },
  },
})
